# Renders the three documents of every node's seed. No provider: `terraform console` in this directory shows what a node gets.

terraform {
  required_version = ">= 1.9"
}

locals {
  server     = one([for name, node in var.nodes : name if node.role == "server"])
  server_url = "https://${var.nodes[local.server].address}:6443"

  role_config = {
    agent = { server = local.server_url }
    server = {
      tls-san               = [var.nodes[local.server].address, local.server]
      cluster-cidr          = var.k3s.pod_cidr
      service-cidr          = var.k3s.service_cidr
      disable               = var.k3s.disable
      write-kubeconfig-mode = "0600"
    }
  }

  k3s_config = {
    for name, node in var.nodes : name => merge(local.role_config[node.role], {
      token         = var.token
      node-name     = name
      node-ip       = node.address
      flannel-iface = var.network.interface
      # The resolver that pods inherit must not be a stub on the node's own loopback.
      resolv-conf = "/run/systemd/resolve/resolv.conf"
    })
  }

  # Read by node.sh; a value never holds a single quote (see the rules in variables.tf).
  node_env = {
    for name, node in var.nodes : name => {
      NODE          = name
      ROLE          = node.role
      INTERFACE     = var.network.interface
      MAC           = node.mac
      ADDRESS       = "${node.address}/${split("/", var.network.cidr)[1]}"
      GATEWAY       = var.network.gateway
      RESOLVERS     = join(" ", var.network.dns)
      NAMES         = join(" ", distinct(var.network.required_names))
      GATE_SECONDS  = var.gate_seconds
      START_SECONDS = var.start_seconds
      VERSION       = var.k3s.version
      BINARY_URL    = var.k3s.binary_url
      BINARY_SHA256 = var.k3s.binary_sha256
      IMAGES_URL    = var.k3s.images_url
      IMAGES_SHA256 = var.k3s.images_sha256
    }
  }

  user_data = {
    for name, node in var.nodes : name => templatefile("${path.module}/user-data.yaml.tftpl", {
      user            = var.user
      authorized_keys = [for key in var.authorized_keys : trimspace(key)]
      host_key        = lookup(var.host_keys, name, null)
      node_env        = join("", [for key, value in local.node_env[name] : "${key}='${value}'\n"])
      k3s_config      = yamlencode(local.k3s_config[name])
      unit            = templatefile("${path.module}/unit.tftpl", { role = node.role })
      node_script     = base64gzip(file("${path.module}/node.sh"))
    })
  }

  network_config = {
    for name, node in var.nodes : name => templatefile("${path.module}/network-config.yaml.tftpl", {
      interface = var.network.interface
      mac       = node.mac
      address   = local.node_env[name].ADDRESS
      gateway   = var.network.gateway
      dns       = var.network.dns
    })
  }

  # cloud-init runs a seed once per instance-id, so a changed seed must be another instance.
  meta_data = {
    for name, _ in var.nodes : name => templatefile("${path.module}/meta-data.yaml.tftpl", {
      name   = name
      digest = substr(sha256("${local.user_data[name]}${local.network_config[name]}"), 0, 16)
    })
  }
}
