locals {
  bucket          = coalesce(var.bucket, "${var.project_id}-wheelyard")
  bucket_location = coalesce(var.bucket_location, upper(var.region))
}

# The packages, and every fact about them. No retention policy: each commit writes over a document.
resource "google_storage_bucket" "packages" {
  name                        = local.bucket
  location                    = local.bucket_location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = var.soft_delete_days * 86400
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = var.noncurrent_days
      with_state                 = "ARCHIVED"
    }
    action {
      type = "Delete"
    }
  }

  # a document that is written all day leaves a version each time
  lifecycle_rule {
    condition {
      num_newer_versions         = 50
      days_since_noncurrent_time = 1
      with_state                 = "ARCHIVED"
    }
    action {
      type = "Delete"
    }
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [google_project_service.apis]
}

# The tokens, as digests: out of reach of whoever may write to the packages.
resource "google_storage_bucket" "credentials" {
  name                        = "${local.bucket}-credentials"
  location                    = local.bucket_location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = var.soft_delete_days * 86400
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = var.noncurrent_days
      with_state                 = "ARCHIVED"
    }
    action {
      type = "Delete"
    }
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [google_project_service.apis]
}

# Empty for ever: its policy says what people may do who come with a Google access token.
resource "google_storage_bucket" "authorisation" {
  count = local.with_access_tokens ? 1 : 0

  name                        = "${local.bucket}-authz"
  location                    = local.bucket_location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  depends_on = [google_project_service.apis]
}

locals {
  with_access_tokens = length(var.readers) + length(var.uploaders) + length(var.managers) > 0

  # Sets, for whoever is in two lists, or in one twice, is one member. objectCreator alone does not read.
  authorisations = merge(
    { for member in toset(concat(var.readers, var.uploaders)) : "${member} reads" => { member = member, role = "roles/storage.objectViewer" } },
    { for member in toset(var.uploaders) : "${member} uploads" => { member = member, role = "roles/storage.objectCreator" } },
    { for member in toset(var.managers) : "${member} manages" => { member = member, role = "roles/storage.objectUser" } },
  )
}

resource "google_storage_bucket_iam_member" "authorised" {
  for_each = local.authorisations

  bucket = google_storage_bucket.authorisation[0].name
  role   = each.value.role
  member = each.value.member
}
