# wheelyard.toml and index.toml: secrets only because Cloud Run mounts secrets as files. Terraform's state contains them,
# too.
module "settings" {
  source = "./settings"

  credentials_bucket   = google_storage_bucket.credentials.name
  private              = var.private
  private_names        = var.private_names
  id_token_audience    = [local.index_url]
  allowed_domains      = var.allowed_domains
  authorisation_bucket = local.with_access_tokens ? google_storage_bucket.authorisation[0].name : ""
  publishing_audience  = var.publishing_audience
  iap_audience         = local.iap_audience
  public_max_age       = var.cdn ? var.cdn_max_age : 0
  grants               = concat(local.publisher_grants, var.grants)
  extra                = var.settings
  extra_index          = var.index_file
}

locals {
  index_url = var.domain == null ? local.run_url : "https://${var.domain}"
  run_url   = "https://${local.service_name}-${data.google_project.this.number}.${var.region}.run.app"

  # the tables of settings/wheelyard.toml.tftpl: TOML allows each once
  written_tables = concat(
    ["access", "http", "google.id_token"],
    local.with_access_tokens ? ["google.access_token"] : [],
    length(var.publishing_audience) > 0 ? ["trusted_publishing"] : [],
    local.with_iap ? ["iap"] : [],
  )

  publisher_grants = [
    for account in google_service_account.publisher : {
      who      = ["serviceAccount:${account.email}#${account.unique_id}"]
      projects = var.publisher_projects
      actions  = ["upload"]
      note     = "CI"
      index    = ""
    }
  ]
}

resource "google_secret_manager_secret" "settings" {
  secret_id = "wheelyard-toml"

  replication {
    auto {}
  }

  depends_on = [google_project_service.apis]
}

resource "google_secret_manager_secret" "index" {
  secret_id = "wheelyard-index-toml"

  replication {
    auto {}
  }

  depends_on = [google_project_service.apis]
}

resource "google_secret_manager_secret_version" "settings" {
  secret          = google_secret_manager_secret.settings.id
  secret_data     = module.settings.toml
  deletion_policy = "ABANDON" # a revision that was before this one still wants its own

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_secret_manager_secret_version" "index" {
  secret          = google_secret_manager_secret.index.id
  secret_data     = module.settings.index_toml
  deletion_policy = "ABANDON"

  lifecycle {
    create_before_destroy = true
  }
}
