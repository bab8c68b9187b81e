output "documents" {
  description = "Host name -> user_data, meta_data and network_config of its NoCloud seed."
  sensitive   = true
  value = {
    for name, _ in var.nodes : name => {
      user_data      = local.user_data[name]
      meta_data      = local.meta_data[name]
      network_config = local.network_config[name]
    }
  }
}

output "server_url" {
  description = "The Kubernetes API."
  value       = local.server_url
}
