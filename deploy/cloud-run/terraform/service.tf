locals {
  service_name = "wheelyard" # written out, so that the load balancer can be made before the service

  environment = merge(
    {
      WHEELYARD_CONFIG                  = "/etc/wheelyard/wheelyard.toml"
      WHEELYARD_STORE                   = "gs://${google_storage_bucket.packages.name}"
      WHEELYARD_SERVER_PUBLIC_URL       = local.index_url
      WHEELYARD_SERVER_TRUSTED_PROXIES  = local.with_domain ? "2" : "1" # Google's front end, and a load balancer before it
      WHEELYARD_LOG_FORMAT              = "json"
      WHEELYARD_LOG_PROJECT             = var.project_id
      WHEELYARD_HTTP_CONCURRENT_UPLOADS = tostring(var.concurrent_uploads)
    },
    var.environment,
  )
}

resource "google_cloud_run_v2_service" "wheelyard" {
  name                 = local.service_name
  location             = var.region
  deletion_protection  = var.deletion_protection
  invoker_iam_disabled = true # Google's own check would take every Authorization header for itself

  # With a load balancer, requests from the internet are only accepted from it: else clients could forge its headers
  # with addresses. The run.app address still answers the project's own networks, where an address can be forged:
  # version 6 of the provider cannot disable that address.
  ingress = local.with_domain ? "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER" : "INGRESS_TRAFFIC_ALL"

  template {
    service_account                  = google_service_account.wheelyard.email
    timeout                          = "3600s"
    max_instance_request_concurrency = var.concurrency
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"

    scaling {
      min_instance_count = var.min_instances
      max_instance_count = var.max_instances
    }

    containers {
      name  = "wheelyard"
      image = var.image
      args  = ["serve", "--host", "0.0.0.0", "--apply", "/etc/wheelyard-index/index.toml"]

      # h2c is HTTP/2 from end to end: without it uploads are limited to 32 MiB
      ports {
        name           = "h2c"
        container_port = 8080
      }

      dynamic "env" {
        for_each = local.environment

        content {
          name  = env.key
          value = env.value
        }
      }

      resources {
        limits = {
          cpu    = var.cpu
          memory = "${var.spool_mib + 768}Mi" # what waits in /tmp, and the server
        }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 1
        failure_threshold = 30

        http_get {
          path = "/health"
          port = 8080
        }
      }

      # /health and not /ready: an outage of the bucket must not restart the server
      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 5
        failure_threshold = 3

        http_get {
          path = "/health"
          port = 8080
        }
      }

      volume_mounts {
        name       = "settings"
        mount_path = "/etc/wheelyard"
      }

      volume_mounts {
        name       = "index"
        mount_path = "/etc/wheelyard-index"
      }

      volume_mounts {
        name       = "spool"
        mount_path = "/tmp"
      }
    }

    volumes {
      name = "settings"

      secret {
        secret = google_secret_manager_secret.settings.secret_id

        # this version, not the latest: changed settings create a new revision
        items {
          version = google_secret_manager_secret_version.settings.version
          path    = "wheelyard.toml"
        }
      }
    }

    # Cloud Run mounts each secret in a folder of its own
    volumes {
      name = "index"

      secret {
        secret = google_secret_manager_secret.index.secret_id

        items {
          version = google_secret_manager_secret_version.index.version
          path    = "index.toml"
        }
      }
    }

    # with this limit, uploads beyond it get 507 and do not end the instance
    volumes {
      name = "spool"

      empty_dir {
        medium     = "MEMORY"
        size_limit = "${var.spool_mib}Mi"
      }
    }
  }

  # explicit, so that an apply takes traffic back from an older revision
  traffic {
    type    = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    percent = 100
  }

  depends_on = [
    google_secret_manager_secret_iam_member.index,
    google_secret_manager_secret_iam_member.settings,
    google_service_account_iam_member.signs_as_itself,
    google_storage_bucket_iam_member.credentials,
    google_storage_bucket_iam_member.packages,
  ]
}
