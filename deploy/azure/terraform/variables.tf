# --- required ---------------------------------------------------------------------------------------

variable "subscription_id" {
  description = "Subscription of all resources."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.subscription_id))
    error_message = "subscription_id is the id of a subscription, 32 hexadecimal digits with four dashes: not its name."
  }
}

variable "image" {
  description = "Image of the server, with its registry and its tag or, better, its digest."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.-]+(:[0-9]+)?/[^ ]+(:|@)[^ ]+$", var.image))
    error_message = "image is a full reference, such as acme.azurecr.io/wheelyard:0.1.0."
  }
}

variable "account" {
  description = "Storage account of the store, which is created: a name that no other account on Azure has."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,24}$", var.account))
    error_message = "account has 3 to 24 lower-case letters and digits, no dash, and no az:// before them."
  }
}

# --- location and names -----------------------------------------------------------------------------

variable "location" {
  description = "Region of all resources."
  type        = string
  default     = "westeurope"

  validation {
    condition     = can(regex("^[a-z]+[0-9]?$", var.location))
    error_message = "location is the short name of a region, such as westeurope."
  }
}

variable "resource_group" {
  description = "Resource group of all resources, which is created."
  type        = string
  default     = "wheelyard"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,90}$", var.resource_group))
    error_message = "resource_group has 1 to 90 letters, digits, dashes and underscores."
  }
}

variable "registry_id" {
  description = "Id of the container registry (Microsoft.ContainerRegistry) that holds the image; null: one that needs no credentials."
  type        = string
  default     = null

  validation {
    condition     = var.registry_id == null || can(regex("^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.ContainerRegistry/registries/[^/]+$", var.registry_id))
    error_message = "registry_id is what `az acr show --query id` prints: /subscriptions/.../Microsoft.ContainerRegistry/registries/NAME."
  }
}

variable "domain" {
  description = "Host name of the index, which you bind to the app; null: that of Container Apps."
  type        = string
  default     = null

  validation {
    condition     = var.domain == null || can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+([a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])$", var.domain))
    error_message = "domain is a host name, such as packages.acme.dev, without https:// and without a slash."
  }
}

variable "replication" {
  description = "Where the account keeps its copies: LRS in one datacentre, ZRS in three zones, GRS and GZRS in another region, too."
  type        = string
  default     = "ZRS"

  validation {
    condition     = contains(["LRS", "ZRS", "GRS", "GZRS"], var.replication)
    error_message = "replication is LRS, ZRS, GRS or GZRS."
  }
}

# --- sizing -----------------------------------------------------------------------------------------

variable "min_instances" {
  description = "Replicas that always run. 0 costs nothing while idle, and some seconds for the first request."
  type        = number
  default     = 1

  validation {
    condition     = var.min_instances >= 0 && var.min_instances <= var.max_instances && floor(var.min_instances) == var.min_instances
    error_message = "min_instances is a whole number, 0 or more, and not more than max_instances."
  }
}

variable "max_instances" {
  description = "Maximum of replicas, which limits the costs."
  type        = number
  default     = 5

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 1000 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances is a whole number, 1 to 1000."
  }
}

variable "cpu" {
  description = "CPUs of a replica. It gets 2 GiB of memory for each, and 4 GiB of disk for uploads in progress, or less with less than one."
  type        = number
  default     = 0.5

  validation {
    condition     = contains([0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2], var.cpu)
    error_message = "cpu is 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75 or 2."
  }
}

# --- retention --------------------------------------------------------------------------------------

variable "noncurrent_days" {
  description = "Days that overwritten or deleted objects stay in the container as older versions."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "noncurrent_days is a whole number, 1 or more."
  }
}

variable "soft_delete_days" {
  description = "Days that a deleted version, or the container, can be restored."
  type        = number
  default     = 7

  validation {
    condition     = var.soft_delete_days >= 1 && var.soft_delete_days <= 365 && floor(var.soft_delete_days) == var.soft_delete_days
    error_message = "soft_delete_days is a whole number, 1 to 365."
  }
}

# --- settings ---------------------------------------------------------------------------------------

variable "private" {
  description = "Whether reading needs a credential."
  type        = bool
  default     = true
}

variable "signed_downloads" {
  description = "Whether the server may sign download URLs, so that files go from the account to the client."
  type        = bool
  default     = true
}

locals {
  index_tables = ["main", "index", "groups", "grant", "publisher", "retention"]
  table_name   = "(?m)^[ \t]*\\[\\[?[ \t]*[\"']?([A-Za-z0-9_-]+)"
}

variable "settings" {
  description = "A whole wheelyard.toml, as text. No secrets: the state contains it."
  type        = string
  default     = ""

  validation {
    condition = length(setintersection(local.index_tables, [
      for table in regexall(local.table_name, var.settings) : table[0]
    ])) == 0
    error_message = "settings has a table that describes the index: move [main], [[index]], [groups], [[grant]], [[publisher]] and [[retention]] to index_file."
  }
}

variable "index_file" {
  description = "A whole index.toml, as text, with grants and publishers. No secrets: the state contains it. What is taken out of it stays in force until `wheelyard apply --prune`."
  type        = string
  default     = ""

  validation {
    condition = length(setsubtract([
      for table in regexall(local.table_name, var.index_file) : table[0]
    ], local.index_tables)) == 0
    error_message = "index_file has the tables [main], [[index]], [groups], [[grant]], [[publisher]] and [[retention]]: move others to settings."
  }
}

variable "environment" {
  description = "More variables of the server, such as WHEELYARD_STORE_FRESHNESS. No secrets: the state contains them."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["PORT", "WHEELYARD_STORE", "WHEELYARD_SERVER_PUBLIC_URL"])) == 0
    error_message = "PORT, WHEELYARD_STORE and WHEELYARD_SERVER_PUBLIC_URL are written already."
  }
}
