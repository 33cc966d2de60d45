# The web pages behind Google's login (IAP), on a separate host, because installers cannot log in. Off unless
# `pages_domain` is set.

locals {
  with_iap = var.pages_domain != null

  # the audience of the backend, not of the service, which needs it when it starts
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

  # For a removed `pages_domain`: with create_before_destroy the URL map is changed before the backend is deleted. The
  # secret's version has it for another reason, and also applies it to its dependencies, which may change. The fixed
  # name does not conflict with its replacement: only another project or region replaces this backend or its
  # endpoints, and names are free there.
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
