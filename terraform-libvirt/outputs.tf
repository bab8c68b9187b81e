output "nodes" {
  description = "Host name -> address, MAC address, role and the id of its domain."
  value = {
    for name, node in var.nodes : name => {
      address = node.address
      mac     = node.mac
      role    = node.role
      domain  = libvirt_domain.node[name].id
    }
  }
}

output "ssh" {
  description = "Host name -> how to connect."
  value       = { for name, node in var.nodes : name => "ssh ${var.user}@${node.address}" }
}

output "api" {
  description = "The Kubernetes API."
  value       = module.seed.server_url
}
