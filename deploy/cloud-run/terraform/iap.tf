# The pages for people behind Google's login, on a host of their own: no installer gets past it.
# Off unless `pages_domain` is set.

locals {
  with_iap = var.pages_domain != null

  # made of the backend and not of the service, which wants to be told it when it starts
  iap_audience = [
    for backend in google_compute_backend_service.pages :
    "/projects/${data.google_project.this.number}/global/backendServices/${backend.generated_id}"
  ]
}

resource "google_compute_backend_service" "pages" {
  count = local.with_iap ? 1 : 0

  name                  = "wheelyard-pages"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"

  backend {
    group = google_compute_region_network_endpoint_group.wheelyard[0].id
  }

  iap {
    enabled = true
  }

  # For `pages_domain` taken out again: only in this order the URL map lets go of the backend before it is deleted. The secret's
  # version hands the same on to whatever it speaks of, but that is for another reason, and may end. The fixed name does not
  # clash with its own successor: only another project or region replaces this or the endpoints behind it, and there names are
  # free.
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_iap_web_backend_service_iam_member" "pages" {
  for_each = local.with_iap ? toset(var.pages_members) : []

  web_backend_service = google_compute_backend_service.pages[0].name
  role                = "roles/iap.httpsResourceAccessor"
  member              = each.value
}
