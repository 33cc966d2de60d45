output "index_url" {
  description = "URL of the index: add /simple/ for installers, and /legacy/ to publish."
  value       = local.index_url
}

output "address" {
  description = "Address for the A records of the domains; null without a domain."
  value       = one(google_compute_global_address.wheelyard[*].address)
}

output "store" {
  description = "For --store of the command line."
  value       = "gs://${google_storage_bucket.packages.name}"
}

output "credentials_store" {
  description = "For WHEELYARD_ACCESS_CREDENTIALS_STORE of the command line, which finds the tokens by it."
  value       = "gs://${google_storage_bucket.credentials.name}"
}

output "image_repository" {
  description = "Repository of images: add /wheelyard:TAG."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.wheelyard.repository_id}"
}

output "service_account" {
  description = "Service account of the server."
  value       = google_service_account.wheelyard.email
}

output "publisher" {
  description = "Service account of CI jobs; null if there is none."
  value       = one(google_service_account.publisher[*].email)
}

output "index_file" {
  description = "The server's index.toml, for `wheelyard apply --dry-run`."
  value       = module.settings.index_toml
}

output "settings" {
  description = "The server's wheelyard.toml, for `wheelyard config check`."
  value       = module.settings.toml
}
