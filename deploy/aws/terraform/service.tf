locals {
  port = 8080

  environment = merge(
    {
      AWS_REGION                       = var.region
      TMPDIR                           = "/data" # the only folder that can be written to; uploads wait there
      WHEELYARD_STORE                  = "s3://${aws_s3_bucket.store.id}"
      WHEELYARD_SERVER_PUBLIC_URL      = "https://${var.domain}"
      WHEELYARD_SERVER_TRUSTED_PROXIES = "1" # the load balancer
      WHEELYARD_ACCESS_PRIVATE         = tostring(var.private)
      WHEELYARD_LOG_FORMAT             = "json"
    },
    var.settings == "" ? {} : { WHEELYARD_TOML = var.settings },
    var.index_file == "" ? {} : { INDEX_TOML = var.index_file },
    var.environment,
  )

  # ECS mounts no text as a file, and the image has no shell: Python writes the file, and becomes the server.
  write_and_serve = "import os, sys; open(sys.argv[-1], 'wb').write(os.environb[b'INDEX_TOML']); os.execvp('wheelyard', ['wheelyard', *sys.argv[1:]])"
  entry_point     = var.index_file == "" ? ["wheelyard"] : ["python", "-IS", "-c", local.write_and_serve]
  arguments       = concat(["serve", "--host", "0.0.0.0"], var.index_file == "" ? [] : ["--apply", "/data/index.toml"])
}

resource "aws_cloudwatch_log_group" "wheelyard" {
  name              = "/wheelyard"
  retention_in_days = var.log_days
}

resource "aws_ecs_cluster" "wheelyard" {
  name = "wheelyard"
}

resource "aws_ecs_task_definition" "wheelyard" {
  family                   = "wheelyard"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = tostring(var.cpu)
  memory                   = tostring(var.memory)
  task_role_arn            = aws_iam_role.server.arn
  execution_role_arn       = aws_iam_role.start.arn

  # on the 20 GiB of disk of each task; the image declares /data as a volume, so that it keeps its owner and mode
  volume {
    name = "spool"
  }

  container_definitions = jsonencode([{
    name                   = "wheelyard"
    image                  = var.image
    essential              = true
    entryPoint             = local.entry_point
    command                = local.arguments
    readonlyRootFilesystem = true
    stopTimeout            = 70 # longer than the server waits for requests in progress

    environment  = [for name, value in local.environment : { name = name, value = value }]
    secrets      = [for name, arn in var.secrets : { name = name, valueFrom = arn }]
    portMappings = [{ containerPort = local.port, protocol = "tcp" }]
    mountPoints  = [{ sourceVolume = "spool", containerPath = "/data", readOnly = false }]

    # the health check of the image, which ECS does not read
    healthCheck = {
      command     = ["CMD", "python", "-IS", "/opt/wheelyard/health.py"]
      interval    = 30
      timeout     = 5
      startPeriod = 30
      retries     = 3
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.wheelyard.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "server"
      }
    }
  }])
}

resource "aws_ecs_service" "wheelyard" {
  name                              = "wheelyard"
  cluster                           = aws_ecs_cluster.wheelyard.id
  task_definition                   = aws_ecs_task_definition.wheelyard.arn
  launch_type                       = "FARGATE"
  desired_count                     = var.instances
  health_check_grace_period_seconds = 60
  wait_for_steady_state             = true

  network_configuration {
    subnets          = length(var.private_subnet_ids) > 0 ? var.private_subnet_ids : var.public_subnet_ids
    security_groups  = [aws_security_group.tasks.id]
    assign_public_ip = length(var.private_subnet_ids) == 0 # the way to the registry and to S3
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.wheelyard.arn
    container_name   = "wheelyard"
    container_port   = local.port
  }

  # an image or settings that do not start leave the old tasks running
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  depends_on = [aws_iam_role_policy.store, aws_iam_role_policy_attachment.start, aws_lb_listener.https]
}
