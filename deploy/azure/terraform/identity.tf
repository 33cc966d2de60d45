# The identity of the server, and its roles.
resource "azurerm_user_assigned_identity" "wheelyard" {
  name                = "wheelyard"
  resource_group_name = azurerm_resource_group.wheelyard.name
  location            = azurerm_resource_group.wheelyard.location
}

# Objects of this container, and nothing else of the account.
resource "azurerm_role_assignment" "store" {
  scope                = azurerm_storage_container.store.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.wheelyard.principal_id
  principal_type       = "ServicePrincipal"
}

# Signing needs a key of the account's, which this role allows to ask for. It allows no access to data.
resource "azurerm_role_assignment" "signs" {
  count = var.signed_downloads ? 1 : 0

  scope                = azurerm_storage_account.store.id
  role_definition_name = "Storage Blob Delegator"
  principal_id         = azurerm_user_assigned_identity.wheelyard.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "pulls" {
  count = var.registry_id == null ? 0 : 1

  scope                = var.registry_id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_user_assigned_identity.wheelyard.principal_id
  principal_type       = "ServicePrincipal"
}
