terraform {
  required_version = ">= 1.9"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.55"
    }
  }

  # The state contains the settings, and the account's keys, which the account does not accept. To share it, keep it in a
  # separate account:
  #
  # backend "azurerm" {
  #   storage_account_name = "acmeterraform"
  #   container_name       = "state"
  #   key                  = "wheelyard.tfstate"
  #   use_azuread_auth     = true
  # }
}

provider "azurerm" {
  subscription_id     = var.subscription_id
  storage_use_azuread = true

  features {
    storage {
      data_plane_available = false # else it asks for queues and shares with the key that the account refuses
    }
  }
}
