# A custom domain: a global external load balancer in front of the service. Off unless `domain` is set.

locals {
  with_domain = var.domain != null
  domains     = compact([var.domain, var.pages_domain])
}

resource "google_compute_global_address" "wheelyard" {
  count = local.with_domain ? 1 : 0

  name = "wheelyard"

  depends_on = [google_project_service.apis]
}

resource "google_compute_region_network_endpoint_group" "wheelyard" {
  count = local.with_domain ? 1 : 0

  name                  = "wheelyard"
  region                = var.region
  network_endpoint_type = "SERVERLESS"

  cloud_run {
    service = local.service_name
  }

  depends_on = [google_project_service.apis]
}

resource "google_compute_backend_service" "index" {
  count = local.with_domain ? 1 : 0

  name                  = "wheelyard"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"
  enable_cdn            = var.cdn

  backend {
    group = google_compute_region_network_endpoint_group.wheelyard[0].id
  }

  # The index decides what may be cached, and for how long: it marks pages as public that anonymous clients may read.
  dynamic "cdn_policy" {
    for_each = var.cdn ? [true] : []

    content {
      cache_mode       = "USE_ORIGIN_HEADERS"
      negative_caching = false

      cache_key_policy {
        include_host         = true
        include_protocol     = true
        include_query_string = true
      }

      # requests with a credential bypass the cache
      bypass_cache_on_request_headers {
        header_name = "Authorization"
      }
    }
  }
}

# The name depends on the domains: other domains need another certificate, created before the old one is removed.
resource "google_compute_managed_ssl_certificate" "wheelyard" {
  count = local.with_domain ? 1 : 0

  name = "wheelyard-${substr(sha256(join(",", local.domains)), 0, 8)}"

  managed {
    domains = local.domains
  }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [google_project_service.apis]
}

resource "google_compute_url_map" "wheelyard" {
  count = local.with_domain ? 1 : 0

  name            = "wheelyard"
  default_service = google_compute_backend_service.index[0].id

  dynamic "host_rule" {
    for_each = local.with_iap ? [true] : []

    content {
      hosts        = [var.pages_domain]
      path_matcher = "pages"
    }
  }

  dynamic "path_matcher" {
    for_each = local.with_iap ? [true] : []

    content {
      name            = "pages"
      default_service = google_compute_backend_service.pages[0].id
    }
  }
}

# Without it, Google accepts TLS 1.0, too. All supported versions of pip, uv and twine have TLS 1.2.
resource "google_compute_ssl_policy" "wheelyard" {
  count = local.with_domain ? 1 : 0

  name            = "wheelyard"
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"

  depends_on = [google_project_service.apis]
}

resource "google_compute_target_https_proxy" "wheelyard" {
  count = local.with_domain ? 1 : 0

  name             = "wheelyard"
  url_map          = google_compute_url_map.wheelyard[0].id
  ssl_certificates = [google_compute_managed_ssl_certificate.wheelyard[0].id]
  ssl_policy       = google_compute_ssl_policy.wheelyard[0].id
}

resource "google_compute_global_forwarding_rule" "https" {
  count = local.with_domain ? 1 : 0

  name                  = "wheelyard-https"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.wheelyard[0].id
  port_range            = "443"
  target                = google_compute_target_https_proxy.wheelyard[0].id
}
