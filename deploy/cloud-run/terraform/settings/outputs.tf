output "toml" {
  description = "The text of wheelyard.toml."
  value = templatefile("${path.module}/wheelyard.toml.tftpl", {
    private        = var.private
    public_max_age = var.public_max_age
    lines          = local.lines
    with = {
      access_tokens = var.authorisation_bucket != ""
      publishing    = length(var.publishing_audience) > 0
      iap           = length(var.iap_audience) > 0
    }
    extra = var.extra
  })
}

output "index_toml" {
  description = "The text of index.toml."
  value = templatefile("${path.module}/index.toml.tftpl", {
    grants = var.grants
    extra  = var.extra_index
  })
}
