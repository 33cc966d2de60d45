# wheelyard.toml and index.toml, made from variables. It needs no provider: `terraform console` shows the result.

locals {
  # a JSON string is a TOML string, and a JSON list of strings is a TOML array
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
