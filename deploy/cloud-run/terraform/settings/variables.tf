variable "credentials_bucket" {
  description = "Bucket of the tokens."
  type        = string
}

variable "private" {
  description = "Whether reading needs a credential."
  type        = bool
}

variable "private_names" {
  description = "Names that answer 403 and not 404 to callers who may not read them."
  type        = list(string)
}

variable "id_token_audience" {
  description = "Audience of Google's ID tokens."
  type        = list(string)
}

variable "allowed_domains" {
  description = "Workspace domains of people."
  type        = list(string)
}

variable "authorisation_bucket" {
  description = "Bucket whose policy controls access tokens; empty disables them."
  type        = string
}

variable "publishing_audience" {
  description = "Audience of the ID tokens of CI jobs; empty disables trusted publishing."
  type        = list(string)
}

variable "iap_audience" {
  description = "Audience of Identity-Aware Proxy's assertions; empty disables them."
  type        = list(string)
}

variable "public_max_age" {
  description = "Seconds that a CDN may cache a page for anonymous clients."
  type        = number
}

variable "grants" {
  description = "Grants."
  type = list(object({
    who      = list(string)
    projects = list(string)
    actions  = list(string)
    note     = optional(string, "")
    index    = optional(string, "")
  }))
}

variable "extra" {
  description = "More tables of wheelyard.toml, as text."
  type        = string
}

variable "extra_index" {
  description = "More tables of index.toml, as text."
  type        = string
}
