variable "credentials_bucket" {
  description = "Bucket of the tokens."
  type        = string
}

variable "private" {
  description = "Whether reading takes a credential."
  type        = bool
}

variable "private_names" {
  description = "Names that answer 403 and not 404 to whoever may not read them."
  type        = list(string)
}

variable "id_token_audience" {
  description = "What Google's ID tokens call this index."
  type        = list(string)
}

variable "allowed_domains" {
  description = "Workspace domains of people who are known here."
  type        = list(string)
}

variable "authorisation_bucket" {
  description = "Bucket whose policy says what access tokens may do; empty switches them off."
  type        = string
}

variable "publishing_audience" {
  description = "What the statements of CI jobs call this index; empty switches trusted publishing off."
  type        = list(string)
}

variable "iap_audience" {
  description = "What the assertions of Identity-Aware Proxy call this service; empty switches them off."
  type        = list(string)
}

variable "public_max_age" {
  description = "Seconds that a CDN may keep a page that anyone may read."
  type        = number
}

variable "grants" {
  description = "Who may do what to which projects."
  type = list(object({
    who      = list(string)
    projects = list(string)
    actions  = list(string)
    note     = optional(string, "")
  }))
}

variable "extra" {
  description = "More tables of wheelyard.toml, as text."
  type        = string
}
