# wheelyard.toml, written from variables. Needs no provider: `terraform console` shows what comes out.

locals {
  # a JSON text is a TOML text, and a JSON list of texts is a TOML array
  lines = {
    private_names   = jsonencode(var.private_names)
    audience        = jsonencode(var.id_token_audience)
    allowed_domains = jsonencode(var.allowed_domains)
    publishing      = jsonencode(var.publishing_audience)
    iap             = jsonencode(var.iap_audience)
    resource        = jsonencode("gs://${var.authorisation_bucket}")
    credentials     = jsonencode("gs://${var.credentials_bucket}")
  }
}
