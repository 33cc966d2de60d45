output "index_url" {
  description = "URL of the index: add /simple/ for installers, and /legacy/ to publish."
  value       = local.index_url
}

output "store" {
  description = "For --store of the command line, with AZURE_STORAGE_ACCOUNT_NAME set to the account."
  value       = "az://${azurerm_storage_container.store.name}"
}

output "container_id" {
  description = "Id of the container, the scope of roles for people who create tokens."
  value       = azurerm_storage_container.store.id
}

output "domain_verification" {
  description = "Value of the TXT record asuid.DOMAIN, before the domain is bound to the app."
  value       = azurerm_container_app_environment.wheelyard.custom_domain_verification_id
}
