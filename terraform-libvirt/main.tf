module "seed" {
  source = "../cloud-init"

  network         = var.network
  nodes           = var.nodes
  k3s             = var.k3s
  user            = var.user
  authorized_keys = var.authorized_keys
  token           = var.token
  host_keys       = var.host_keys
  gate_seconds    = var.gate_seconds
  start_seconds   = var.start_seconds
}

locals {
  pool = var.pool.path == null ? var.pool.name : libvirt_pool.own[0].name

  # The provider takes the command line as maps and reads it back as: all key=value words, then the bare words.
  words = var.boot == null ? [] : split(" ", var.boot.cmdline)
  cmdline = [
    for part in [
      { for word in local.words : split("=", word)[0] => join("=", slice(split("=", word), 1, length(split("=", word)))) if strcontains(word, "=") },
      { for key, bare in { "_" = join(" ", [for word in local.words : word if !strcontains(word, "=")]) } : key => bare if bare != "" },
    ] : part if length(part) > 0
  ]
}

resource "libvirt_pool" "own" {
  count = var.pool.path == null ? 0 : 1

  name = var.pool.name
  type = "dir"
  target {
    path = var.pool.path
  }
}

resource "libvirt_volume" "base" {
  count = var.image.path == null ? 0 : 1

  name   = "${var.cluster}-base"
  pool   = local.pool
  source = var.image.path
}

resource "libvirt_volume" "kernel" {
  count = var.boot == null ? 0 : 1

  name   = "${var.cluster}-kernel"
  pool   = local.pool
  source = var.boot.kernel
  format = "raw"
}

resource "libvirt_volume" "initrd" {
  count = var.boot == null ? 0 : 1

  name   = "${var.cluster}-initrd"
  pool   = local.pool
  source = var.boot.initrd
  format = "raw"
}

# A new control plane has new certificate authorities, which agents of the old one would never trust.
resource "terraform_data" "control_plane" {
  triggers_replace = [for name, node in var.nodes : [name, node.disk_gib, sha256(module.seed.documents[name].meta_data)] if node.role == "server"]
}

# A changed seed means another machine: nothing is reconfigured in place.
resource "terraform_data" "seed" {
  for_each = var.nodes

  triggers_replace = sha256(module.seed.documents[each.key].meta_data)
}

resource "libvirt_volume" "root" {
  for_each = var.nodes

  name             = "${var.cluster}-${each.key}"
  pool             = local.pool
  format           = "qcow2"
  size             = each.value.disk_gib * 1024 * 1024 * 1024
  base_volume_id   = var.image.path == null ? null : libvirt_volume.base[0].id
  base_volume_name = var.image.volume

  lifecycle {
    replace_triggered_by = [terraform_data.control_plane, terraform_data.seed[each.key]]
  }
}

resource "libvirt_cloudinit_disk" "seed" {
  for_each = var.nodes

  name           = "${var.cluster}-${each.key}-seed.iso"
  pool           = local.pool
  user_data      = module.seed.documents[each.key].user_data
  meta_data      = module.seed.documents[each.key].meta_data
  network_config = module.seed.documents[each.key].network_config
}

resource "libvirt_domain" "node" {
  for_each = var.nodes

  name        = each.key
  description = "${each.value.role} of cluster ${var.cluster}"
  type        = var.domain.type
  machine     = var.domain.machine
  vcpu        = each.value.cpus
  memory      = each.value.memory_mib
  autostart   = var.domain.autostart
  qemu_agent  = false

  kernel  = var.boot == null ? null : libvirt_volume.kernel[0].id
  initrd  = var.boot == null ? null : libvirt_volume.initrd[0].id
  cmdline = local.cmdline

  dynamic "cpu" {
    for_each = var.domain.type == "kvm" && var.domain.cpu_model == null ? ["host-passthrough"] : []
    content {
      mode = cpu.value
    }
  }

  disk {
    volume_id = libvirt_volume.root[each.key].id
  }

  # As a second virtio disk, which cloud-init finds by its label. The provider's own `cloudinit` is an IDE CD-ROM, whose
  # driver may come up after cloud-init has looked (seen in emulation: no seed, no network); an id is "volume key;uuid".
  disk {
    volume_id = split(";", libvirt_cloudinit_disk.seed[each.key].id)[0]
  }

  # Addresses are static: there is no lease to wait for.
  network_interface {
    network_name   = var.network.name
    mac            = upper(each.value.mac)
    wait_for_lease = false
  }

  console {
    type        = "pty"
    target_type = "serial"
    target_port = "0"
  }

  # Set, because the provider's default is spice, which many QEMU builds lack. Nothing listens anywhere.
  graphics {
    type        = "vnc"
    listen_type = "none"
  }
  video {
    type = "none"
  }

  xml {
    xslt = templatefile("${path.module}/domain.xslt.tftpl", {
      disk_cache   = var.domain.disk_cache
      emulated     = var.domain.type == "qemu"
      cpu_model    = var.domain.cpu_model
      cpu_features = var.domain.cpu_features
      console_log  = var.domain.console_log_dir == null ? null : "${var.domain.console_log_dir}/${each.key}.log"
    })
  }
}
