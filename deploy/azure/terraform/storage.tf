resource "azurerm_resource_group" "wheelyard" {
  name     = var.resource_group
  location = var.location
}

# No key and no anonymous reading: who has a role on it gets in, and nobody else.
resource "azurerm_storage_account" "store" {
  name                            = var.account
  resource_group_name             = azurerm_resource_group.wheelyard.name
  location                        = azurerm_resource_group.wheelyard.location
  account_tier                    = "Standard"
  account_replication_type        = var.replication
  access_tier                     = "Hot"
  min_tls_version                 = "TLS1_2"
  shared_access_key_enabled       = false
  allow_nested_items_to_be_public = false

  # no immutability policy: each commit overwrites a document
  blob_properties {
    versioning_enabled = true

    delete_retention_policy {
      days = var.soft_delete_days
    }

    container_delete_retention_policy {
      days = var.soft_delete_days
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "azurerm_storage_container" "store" {
  name                  = "packages"
  storage_account_id    = azurerm_storage_account.store.id
  container_access_type = "private"

  lifecycle {
    prevent_destroy = true
  }
}

# Blocks of uploads that were not finished need no rule: Azure removes them after a week.
resource "azurerm_storage_management_policy" "store" {
  storage_account_id = azurerm_storage_account.store.id

  rule {
    name    = "older-versions"
    enabled = true

    filters {
      blob_types = ["blockBlob"]
    }

    actions {
      version {
        delete_after_days_since_creation = var.noncurrent_days
      }
    }
  }
}
