# The repository of the image.
resource "google_artifact_registry_repository" "wheelyard" {
  repository_id = "wheelyard"
  location      = var.region
  format        = "DOCKER"
  description   = "Images of wheelyard"

  cleanup_policies {
    id     = "keep-the-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-the-old"
    action = "DELETE"
    condition {
      older_than = "${90 * 86400}s"
    }
  }

  depends_on = [google_project_service.apis]
}
