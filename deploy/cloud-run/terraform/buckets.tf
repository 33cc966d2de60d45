locals {
  bucket          = coalesce(var.bucket, "${var.project_id}-wheelyard")
  bucket_location = coalesce(var.bucket_location, upper(var.region))
}

# The packages and their metadata. No retention policy: each commit overwrites a document.
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

  # each write of a document leaves a version
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

# The tokens, as digests: not writable for accounts that may write to the packages.
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

# Always empty: its IAM policy controls access with Google access tokens.
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

  # Sets, because a member may be in several lists. objectCreator alone does not allow reading.
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
