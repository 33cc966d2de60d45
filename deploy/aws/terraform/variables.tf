# --- required ---------------------------------------------------------------------------------------

variable "image" {
  description = "Image of the server, with its registry and its tag or, better, its digest."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.-]+(:[0-9]+)?/[^ ]+(:|@)[^ ]+$", var.image))
    error_message = "image is a full reference, such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com/wheelyard:0.1.0."
  }
}

variable "domain" {
  description = "Host name of the index; point it to the output load_balancer."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+([a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])$", var.domain))
    error_message = "domain is a host name, such as packages.acme.dev, without https:// and without a slash."
  }
}

variable "certificate_arn" {
  description = "ARN of the domain's certificate in AWS Certificate Manager, in the same region."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/", var.certificate_arn))
    error_message = "certificate_arn is the ARN of a certificate, arn:aws:acm:REGION:ACCOUNT:certificate/ID."
  }
}

variable "vpc_id" {
  description = "VPC of the load balancer and of the tasks."
  type        = string

  validation {
    condition     = can(regex("^vpc-[0-9a-f]+$", var.vpc_id))
    error_message = "vpc_id is the id of a VPC, such as vpc-0a1b2c3d."
  }
}

variable "public_subnet_ids" {
  description = "Public subnets of the load balancer, in two availability zones or more."
  type        = list(string)

  validation {
    condition     = length(var.public_subnet_ids) >= 2 && alltrue([for id in var.public_subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = "public_subnet_ids are the ids of two subnets or more, such as subnet-0a1b2c3d, in different availability zones."
  }
}

# --- location and names -----------------------------------------------------------------------------

variable "region" {
  description = "Region of all resources."
  type        = string
  default     = "eu-central-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is the name of a region, such as eu-central-1: not of an availability zone."
  }
}

variable "bucket" {
  description = "Bucket of the store; null: wheelyard-ACCOUNT."
  type        = string
  default     = null

  validation {
    condition     = var.bucket == null || can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket has 3 to 63 lower-case letters, digits and dashes, and no s3:// before them. A dot in it would break TLS."
  }
}

variable "private_subnet_ids" {
  description = "Subnets of the tasks, with a way to the internet or to endpoints of ECR, S3 and CloudWatch; none: the public ones."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.private_subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = "private_subnet_ids are ids of subnets, such as subnet-0a1b2c3d."
  }
}

variable "allowed_networks" {
  description = "Networks that may connect to the load balancer."
  type        = list(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = length(var.allowed_networks) > 0 && alltrue([for network in var.allowed_networks : can(cidrnetmask(network))])
    error_message = "allowed_networks are IPv4 networks, such as 192.0.2.0/24."
  }
}

# --- sizing -----------------------------------------------------------------------------------------

variable "instances" {
  description = "Tasks that run; any number may share the bucket."
  type        = number
  default     = 2

  validation {
    condition     = var.instances >= 1 && floor(var.instances) == var.instances
    error_message = "instances is a whole number, 1 or more."
  }
}

variable "cpu" {
  description = "CPU units of a task; 1024 are one CPU."
  type        = number
  default     = 512

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096], var.cpu)
    error_message = "cpu is 256, 512, 1024, 2048 or 4096."
  }
}

variable "memory" {
  description = "Memory of a task, in MiB."
  type        = number
  default     = 1024

  validation {
    condition     = var.memory >= 2 * var.cpu && var.memory <= 8 * var.cpu && var.memory % 1024 == 0 || var.cpu == 256 && var.memory == 512
    error_message = "memory is a multiple of 1024, two to eight times the CPU units; 512 is possible with 256 units, too."
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

variable "log_days" {
  description = "Days that the log is kept."
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_days)
    error_message = "log_days is one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545 and 731."
  }
}

# --- settings ---------------------------------------------------------------------------------------

variable "private" {
  description = "Whether reading needs a credential."
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

variable "secrets" {
  description = "Variables of the server, such as WHEELYARD_ACCESS_METRICS_TOKEN, whose values are in Secrets Manager or Parameter Store: their ARNs."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for arn in values(var.secrets) : can(regex("^arn:aws[a-z-]*:(secretsmanager|ssm):", arn))])
    error_message = "secrets are ARNs of Secrets Manager or of Parameter Store, never values."
  }
}
