# --- required ---------------------------------------------------------------------------------------

variable "project_id" {
  description = "Project of all resources."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is the id of a project, such as acme-packages: not its name, and not its number."
  }
}

variable "image" {
  description = "Image of the server, with its tag or, better, its digest."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.-]+/[^ ]+(:|@)[^ ]+$", var.image))
    error_message = "image is a full reference, such as europe-west1-docker.pkg.dev/acme-packages/wheelyard/wheelyard:0.1.0."
  }
}

# --- locations and names ----------------------------------------------------------------------------

variable "region" {
  description = "Region of the service and of its images."
  type        = string
  default     = "europe-west1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is the name of a region, such as europe-west1: not of a zone."
  }
}

variable "bucket" {
  description = "Bucket of the packages; null: PROJECT_ID-wheelyard. The names of two more begin with it."
  type        = string
  default     = null

  validation {
    condition     = var.bucket == null || can(regex("^[a-z0-9][a-z0-9_-]{1,49}[a-z0-9]$", var.bucket))
    error_message = "bucket has 3 to 51 lower-case letters, digits, dashes and underscores, and no gs:// before them. With a dot it would be a domain that you have to prove is yours, and its name with -credentials never is one."
  }
}

variable "bucket_location" {
  description = "Location of the buckets, such as EU or EUR4; null: the region. Cannot be changed later."
  type        = string
  default     = null
}

variable "signer_role_id" {
  description = "Id of the custom role that lets the server sign URLs. A deleted one cannot be created again for 37 days."
  type        = string
  default     = "wheelyardSigner"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.]{3,64}$", var.signer_role_id))
    error_message = "signer_role_id has 3 to 64 letters, digits, dots and underscores."
  }
}

# --- sizing -----------------------------------------------------------------------------------------

variable "min_instances" {
  description = "Instances that always run. 0 costs nothing while idle, and a second or two for the first request."
  type        = number
  default     = 0

  validation {
    condition     = var.min_instances >= 0 && var.min_instances <= var.max_instances && floor(var.min_instances) == var.min_instances
    error_message = "min_instances is a whole number, 0 or more, and not more than max_instances."
  }
}

variable "max_instances" {
  description = "Maximum of instances, which limits the costs."
  type        = number
  default     = 5

  validation {
    condition     = var.max_instances >= 1 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances is a whole number, 1 or more."
  }
}

variable "concurrency" {
  description = "Concurrent requests of one instance."
  type        = number
  default     = 80

  validation {
    condition     = var.concurrency >= 1 && var.concurrency <= 1000 && floor(var.concurrency) == var.concurrency
    error_message = "concurrency is a whole number, 1 to 1000."
  }
}

variable "cpu" {
  description = "CPUs of an instance."
  type        = string
  default     = "1"

  validation {
    condition     = contains(["1", "2", "4"], var.cpu)
    error_message = "cpu is 1, 2 or 4: with less than one, Cloud Run gives an instance one request at a time."
  }
}

variable "spool_mib" {
  description = "Memory for uploads in progress, in MiB; an instance gets 768 MiB more than that."
  type        = number
  default     = 1280

  validation {
    condition     = var.spool_mib >= (var.cpu == "4" ? 1280 : 256) && var.spool_mib <= lookup({ "1" = 3328, "2" = 7424 }, var.cpu, 15616)
    error_message = "spool_mib is 256 to 3328 with one CPU, 256 to 7424 with two, 1280 to 15616 with four: Cloud Run gives an instance at most 4, 8 and 16 GiB, and with four CPUs not less than 2."
  }

  validation {
    condition     = floor(var.spool_mib) == var.spool_mib
    error_message = "spool_mib is a whole number."
  }
}

variable "concurrent_uploads" {
  description = "Concurrent uploads of one instance; others wait for 30 seconds, then get 503."
  type        = number
  default     = 8

  validation {
    condition     = var.concurrent_uploads >= 1 && floor(var.concurrent_uploads) == var.concurrent_uploads
    error_message = "concurrent_uploads is a whole number, 1 or more."
  }
}

# --- retention --------------------------------------------------------------------------------------

variable "noncurrent_days" {
  description = "Days that overwritten or deleted objects stay in the bucket as older versions."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "noncurrent_days is a whole number, 1 or more."
  }
}

variable "soft_delete_days" {
  description = "Days that a deleted version can be restored; 0 disables that."
  type        = number
  default     = 7

  validation {
    condition     = contains(concat([0], range(7, 91)), var.soft_delete_days)
    error_message = "soft_delete_days is 0, or 7 to 90, and a whole number."
  }
}

variable "deletion_protection" {
  description = "Whether the service is protected from deletion."
  type        = bool
  default     = true
}

# --- authentication and access control --------------------------------------------------------------

variable "private" {
  description = "Whether reading needs a credential."
  type        = bool
  default     = true
}

variable "private_names" {
  description = "Names, or prefixes and a star, that answer 403 and not 404 to callers who may not read them."
  type        = list(string)
  default     = []
}

variable "grants" {
  description = "Grants, as [[grant]] of index.toml; without an index they are about main. One that is taken out stays in force until `wheelyard apply --prune`."
  type = list(object({
    who      = list(string)
    projects = list(string)
    actions  = list(string)
    note     = optional(string, "")
    index    = optional(string, "")
  }))
  default = []

  validation {
    condition = alltrue([
      for action in flatten([for grant in var.grants : grant.actions]) : contains(["read", "upload", "manage", "admin"], action)
    ])
    error_message = "The actions of a grant are read, upload, manage and admin."
  }
}

variable "allowed_domains" {
  description = "Workspace domains of people with an ID token; none: every Google account."
  type        = list(string)
  default     = []
}

variable "readers" {
  description = "Members, as IAM writes them, who may read with a Google access token."
  type        = list(string)
  default     = []
}

variable "uploaders" {
  description = "Members who may read and upload with a Google access token."
  type        = list(string)
  default     = []
}

variable "managers" {
  description = "Members who may read, upload, yank and delete with a Google access token."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for member in concat(var.readers, var.uploaders, var.managers) :
      can(regex("^(user|group|serviceAccount|domain|principal|principalSet):", member))
    ])
    error_message = "Members are such as user:ana@acme.dev, group:team@acme.dev and domain:acme.dev; never allUsers."
  }
}

variable "publishing_audience" {
  description = "Audience of the ID tokens of CI jobs; none: no trusted publishing."
  type        = list(string)
  default     = []
}

variable "publisher_projects" {
  description = "Packages that the account wheelyard-publisher may publish, such as [\"*\"]; none: no such account."
  type        = list(string)
  default     = []
}

variable "publisher_impersonators" {
  description = "Members who may act as wheelyard-publisher, such as a federated repository."
  type        = list(string)
  default     = []
}

locals {
  index_tables = ["main", "index", "groups", "grant", "publisher", "retention"]
  table_name   = "(?m)^[ \t]*\\[\\[?[ \t]*[\"']?([A-Za-z0-9_-]+)"
}

variable "settings" {
  description = "More tables of wheelyard.toml, as text, such as [uploads]. No secrets: the state contains them."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(\\s|#[^\n]*(\n|$))*(\\[|$)", var.settings))
    error_message = "settings begins with the name of a table, such as [uploads]: it is put behind other tables, and a key before the first name would be in the last of those."
  }

  validation {
    condition = length(setintersection(local.written_tables, [
      for table in regexall("(?m)^[ \t]*\\[\\[?([^][]+)\\]", var.settings) : replace(table[0], "/[\\s\"']/", "")
    ])) == 0
    error_message = "settings repeats a table that is written already, and TOML takes each once: ${join(", ", [for table in local.written_tables : "[${table}]"])}. Keys of these are variables of this configuration; give the others by environment, such as WHEELYARD_HTTP_PAGE_CACHE = \"32\"."
  }

  validation {
    condition = length(setintersection(local.index_tables, [
      for table in regexall(local.table_name, var.settings) : table[0]
    ])) == 0
    error_message = "settings has a table that describes the index: move [main], [[index]], [groups], [[grant]], [[publisher]] and [[retention]] to index_file."
  }
}

variable "index_file" {
  description = "More tables of index.toml, as text, such as [[publisher]]. No secrets: the state contains them. What is taken out of it stays in force until `wheelyard apply --prune`."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(\\s|#[^\n]*(\n|$))*(\\[|$)", var.index_file))
    error_message = "index_file begins with the name of a table, such as [[publisher]]: it is put behind the grants, and a key before the first name would be in the last of those."
  }

  validation {
    condition = length(setsubtract([
      for table in regexall(local.table_name, var.index_file) : table[0]
    ], local.index_tables)) == 0
    error_message = "index_file has the tables [main], [[index]], [groups], [[grant]], [[publisher]] and [[retention]]: move others to settings."
  }
}

variable "environment" {
  description = "More variables of the server, such as WHEELYARD_STORE_FRESHNESS."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : name != "PORT"])
    error_message = "PORT is given by Cloud Run."
  }
}

# --- domain, login and CDN --------------------------------------------------------------------------

locals {
  # the top-level domain has only letters, or is in its xn-- form
  host_name = "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+([a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])$"
}

variable "domain" {
  description = "Host name of the index; null: that of Cloud Run. Creates a load balancer, which costs money from the first day."
  type        = string
  default     = null

  validation {
    condition     = var.domain == null || can(regex(local.host_name, var.domain))
    error_message = "domain is a host name, such as packages.acme.dev, without https:// and without a slash."
  }
}

variable "pages_domain" {
  description = "A second host name, of the web pages behind Google's login (IAP); null: none."
  type        = string
  default     = null

  validation {
    condition     = var.pages_domain == null || (var.domain != null && var.pages_domain != var.domain)
    error_message = "pages_domain is another host name than domain, which has to be set: no installer gets past a login."
  }

  validation {
    condition     = var.pages_domain == null || can(regex(local.host_name, var.pages_domain))
    error_message = "pages_domain is a host name, such as packages-web.acme.dev, without https:// and without a slash."
  }
}

variable "pages_members" {
  description = "Members who may log in to the web pages; grants say what they see."
  type        = list(string)
  default     = []
}

variable "cdn" {
  description = "Whether Cloud CDN caches pages that anonymous clients may read."
  type        = bool
  default     = false

  validation {
    condition     = !var.cdn || (var.domain != null && !var.private)
    error_message = "cdn wants a domain, and private = false: with everything private there is nothing that it may keep."
  }
}

variable "cdn_max_age" {
  description = "Seconds that Cloud CDN caches a page; a new release may appear that late."
  type        = number
  default     = 60

  validation {
    condition     = var.cdn_max_age >= 1 && floor(var.cdn_max_age) == var.cdn_max_age
    error_message = "cdn_max_age is a whole number, 1 or more."
  }
}
