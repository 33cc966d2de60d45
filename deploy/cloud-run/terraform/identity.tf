# The service account of the server, and its roles.
resource "google_service_account" "wheelyard" {
  account_id   = "wheelyard"
  display_name = "wheelyard, the package index"

  depends_on = [google_project_service.apis]
}

resource "google_storage_bucket_iam_member" "packages" {
  bucket = google_storage_bucket.packages.name
  role   = "roles/storage.objectUser"
  member = google_service_account.wheelyard.member
}

resource "google_storage_bucket_iam_member" "credentials" {
  bucket = google_storage_bucket.credentials.name
  role   = "roles/storage.objectUser"
  member = google_service_account.wheelyard.member
}

# It signs download URLs as itself. Google's own role would also allow it to create tokens for itself.
resource "google_project_iam_custom_role" "signer" {
  role_id     = var.signer_role_id
  title       = "wheelyard: signs URLs"
  description = "May sign as the service account on which it is granted."
  permissions = ["iam.serviceAccounts.signBlob"]
}

resource "google_service_account_iam_member" "signs_as_itself" {
  service_account_id = google_service_account.wheelyard.name
  role               = google_project_iam_custom_role.signer.id
  member             = google_service_account.wheelyard.member
}

resource "google_secret_manager_secret_iam_member" "settings" {
  secret_id = google_secret_manager_secret.settings.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.wheelyard.member
}

resource "google_secret_manager_secret_iam_member" "index" {
  secret_id = google_secret_manager_secret.index.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.wheelyard.member
}

# The service account of CI jobs; a grant says what it may publish.
resource "google_service_account" "publisher" {
  count = local.with_publisher ? 1 : 0

  account_id   = "wheelyard-publisher"
  display_name = "Publishes to wheelyard"

  depends_on = [google_project_service.apis]
}

# A build requests an ID token of its own account.
resource "google_service_account_iam_member" "publisher_identifies_itself" {
  count = local.with_publisher ? 1 : 0

  service_account_id = google_service_account.publisher[0].name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = google_service_account.publisher[0].member
}

resource "google_project_iam_member" "publisher_logs" {
  count = local.with_publisher ? 1 : 0

  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.publisher[0].member
}

resource "google_service_account_iam_member" "impersonates_publisher" {
  for_each = local.with_publisher ? toset(var.publisher_impersonators) : []

  service_account_id = google_service_account.publisher[0].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.value
}

locals {
  with_publisher = length(var.publisher_projects) > 0
}
