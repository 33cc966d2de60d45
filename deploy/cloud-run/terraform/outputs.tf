output "index_url" {
  description = "Where the index is: add /simple/ for installers, and /legacy/ to publish."
  value       = local.index_url
}

output "address" {
  description = "What the A records of the domains have to say; null without a domain."
  value       = one(google_compute_global_address.wheelyard[*].address)
}

output "store" {
  description = "For --store of the command line."
  value       = "gs://${google_storage_bucket.packages.name}"
}

output "credentials_store" {
  description = "For WHEELYARD_CREDENTIALS_STORE of the command line, without which it would not find the tokens."
  value       = "gs://${google_storage_bucket.credentials.name}"
}

output "image_repository" {
  description = "Where images are pushed to: add /wheelyard:TAG."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.wheelyard.repository_id}"
}

output "service_account" {
  description = "What the server runs as."
  value       = google_service_account.wheelyard.email
}

output "publisher" {
  description = "What CI jobs run as; null if there is none."
  value       = one(google_service_account.publisher[*].email)
}

output "settings" {
  description = "wheelyard.toml as the server has it, for `wheelyard config check`."
  value       = module.settings.toml
}
