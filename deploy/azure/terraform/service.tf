locals {
  name      = "wheelyard"
  port      = 8080
  index_url = "https://${coalesce(var.domain, "${local.name}.${azurerm_container_app_environment.wheelyard.default_domain}")}"

  environment = merge(
    {
      AZURE_CLIENT_ID                  = azurerm_user_assigned_identity.wheelyard.client_id
      AZURE_STORAGE_ACCOUNT_NAME       = azurerm_storage_account.store.name
      WHEELYARD_STORE                  = "az://${azurerm_storage_container.store.name}"
      WHEELYARD_SERVER_PUBLIC_URL      = local.index_url
      WHEELYARD_SERVER_TRUSTED_PROXIES = "1" # the ingress of Container Apps
      WHEELYARD_ACCESS_PRIVATE         = tostring(var.private)
      WHEELYARD_LOG_FORMAT             = "json"
    },
    var.settings == "" ? {} : { WHEELYARD_TOML = var.settings },
    var.index_file == "" ? {} : { INDEX_TOML = var.index_file },
    var.environment,
  )

  # In a variable, a changed text makes a new revision, unlike a mounted secret. The image has no shell: Python writes the
  # file, and becomes the server.
  write_and_serve = "import os, sys; open(sys.argv[-1], 'wb').write(os.environb[b'INDEX_TOML']); os.execvp('wheelyard', ['wheelyard', *sys.argv[1:]])"
  entry_point     = var.index_file == "" ? ["wheelyard"] : ["python", "-IS", "-c", local.write_and_serve]
  arguments       = concat(["serve", "--host", "0.0.0.0"], var.index_file == "" ? [] : ["--apply", "/tmp/index.toml"])
}

resource "azurerm_log_analytics_workspace" "wheelyard" {
  name                = "wheelyard"
  resource_group_name = azurerm_resource_group.wheelyard.name
  location            = azurerm_resource_group.wheelyard.location
  retention_in_days   = 90
}

resource "azurerm_container_app_environment" "wheelyard" {
  name                       = "wheelyard"
  resource_group_name        = azurerm_resource_group.wheelyard.name
  location                   = azurerm_resource_group.wheelyard.location
  logs_destination           = "log-analytics"
  log_analytics_workspace_id = azurerm_log_analytics_workspace.wheelyard.id
}

resource "azurerm_container_app" "wheelyard" {
  name                         = local.name
  resource_group_name          = azurerm_resource_group.wheelyard.name
  container_app_environment_id = azurerm_container_app_environment.wheelyard.id
  revision_mode                = "Single"

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.wheelyard.id]
  }

  # with its identity, so that no password is stored
  dynamic "registry" {
    for_each = azurerm_role_assignment.pulls

    content {
      server   = split("/", var.image)[0]
      identity = azurerm_user_assigned_identity.wheelyard.id
    }
  }

  ingress {
    external_enabled           = true
    allow_insecure_connections = false
    target_port                = local.port
    transport                  = "auto"

    traffic_weight {
      latest_revision = true
      percentage      = 100
    }
  }

  template {
    min_replicas                     = var.min_instances
    max_replicas                     = var.max_instances
    termination_grace_period_seconds = 70 # longer than the server waits for requests in progress

    container {
      name    = "wheelyard"
      image   = var.image
      command = local.entry_point
      args    = local.arguments
      cpu     = var.cpu
      memory  = "${var.cpu * 2}Gi"

      dynamic "env" {
        for_each = local.environment

        content {
          name  = env.key
          value = env.value
        }
      }

      startup_probe {
        transport               = "HTTP"
        path                    = "/health"
        port                    = local.port
        interval_seconds        = 2
        failure_count_threshold = 30
      }

      # /health and not /ready: an outage of the container must not restart the server
      liveness_probe {
        transport               = "HTTP"
        path                    = "/health"
        port                    = local.port
        interval_seconds        = 30
        timeout                 = 5
        failure_count_threshold = 3
      }

      # uploads in progress wait there
      volume_mounts {
        name = "spool"
        path = "/tmp"
      }
    }

    volume {
      name         = "spool"
      storage_type = "EmptyDir"
    }

    http_scale_rule {
      name                = "requests"
      concurrent_requests = "80"
    }
  }

  depends_on = [azurerm_role_assignment.store, azurerm_role_assignment.signs, azurerm_role_assignment.pulls]
}
