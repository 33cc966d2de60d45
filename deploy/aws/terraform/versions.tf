terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }

  # The state contains the settings, and no secret. To share it, keep it in a separate bucket:
  #
  # backend "s3" {
  #   bucket       = "ACCOUNT-terraform"
  #   key          = "wheelyard.tfstate"
  #   use_lockfile = true
  # }
}

provider "aws" {
  region = var.region
}

data "aws_caller_identity" "current" {}
