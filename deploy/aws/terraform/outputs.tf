output "index_url" {
  description = "URL of the index: add /simple/ for installers, and /legacy/ to publish."
  value       = "https://${var.domain}"
}

output "load_balancer" {
  description = "Host name for the CNAME record of the domain."
  value       = aws_lb.wheelyard.dns_name
}

output "store" {
  description = "For --store of the command line."
  value       = "s3://${aws_s3_bucket.store.id}"
}

output "role" {
  description = "ARN of the role of the server."
  value       = aws_iam_role.server.arn
}
