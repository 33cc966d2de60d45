terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # The state contains every grant. To share it, keep it in a separate bucket:
  #
  # backend "gcs" {
  #   bucket = "PROJECT_ID-terraform"
  #   prefix = "wheelyard"
  # }
}

provider "google" {
  project = var.project_id
  region  = var.region
}
