# What belongs to the machines. The rules for what a node needs to know (network, k3s, user, keys) are in ../cloud-init.

variable "libvirt_uri" {
  description = "Where libvirt runs: qemu:///system, or qemu+ssh://user@host/system."
  type        = string
  default     = "qemu:///system"

  validation {
    condition     = can(regex("^qemu(\\+[a-z0-9]+)?://", var.libvirt_uri))
    error_message = "libvirt_uri: expected a QEMU URI such as qemu:///system or qemu+ssh://user@host/system."
  }
}

variable "cluster" {
  description = "Name of the cluster; its pool and volumes begin with it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.cluster))
    error_message = "cluster: expected a name of at most 31 lower-case letters, digits and dashes."
  }
}

variable "network" {
  description = "An existing libvirt network, and what must work on it before a node touches k3s. required_names are answered by the resolver before the install begins."
  type = object({
    name           = string
    cidr           = string
    gateway        = string
    dns            = list(string)
    interface      = optional(string, "eth0")
    required_names = list(string)
  })
}

variable "pool" {
  description = "Storage pool for all disks. With a path the pool is made, and removed by destroy; without one it must exist."
  type = object({
    name = string
    path = optional(string)
  })

  validation {
    condition     = var.pool.path == null || can(regex("^/.", var.pool.path))
    error_message = "pool.path: expected an absolute path on the hypervisor."
  }
}

variable "image" {
  description = "The base image: a file on this machine that is uploaded (path), or a volume that the pool has already (volume). Destroy never removes the file or such a volume."
  type = object({
    path   = optional(string)
    volume = optional(string)
  })

  validation {
    condition     = (var.image.path == null) != (var.image.volume == null)
    error_message = "image: expected either path or volume."
  }
  validation {
    condition     = var.image.path == null || fileexists(coalesce(var.image.path, "/"))
    error_message = "image.path: no such file; `kpi image` or `packer build` makes it."
  }
}

variable "boot" {
  description = "Kernel and initrd (files on this machine) to boot directly, for the lab; null boots from the disk."
  type = object({
    kernel  = string
    initrd  = string
    cmdline = string
  })
  default = null

  validation {
    condition = var.boot == null || try(
      length(distinct([for word in split(" ", var.boot.cmdline) : split("=", word)[0]])) == length(split(" ", var.boot.cmdline)), false
    )
    error_message = "boot.cmdline: words in single spaces, no key twice; the provider sorts them, so the later of two would not win."
  }
}

variable "domain" {
  description = "How the machines are emulated or accelerated. cpu_features have libvirt's names (pclmuldq). console_log_dir (on the hypervisor) also writes each serial console to NODE.log there."
  type = object({
    type            = optional(string, "kvm")
    machine         = optional(string, "pc")
    cpu_model       = optional(string)
    cpu_features    = optional(list(string), [])
    disk_cache      = optional(string, "none")
    console_log_dir = optional(string)
    autostart       = optional(bool, true)
  })
  default = {}

  validation {
    condition     = contains(["kvm", "qemu"], var.domain.type)
    error_message = "domain.type: expected \"kvm\", or \"qemu\" for emulation."
  }
  validation {
    condition     = can(regex("^(pc|q35|pc-(i440fx|q35)-[a-z0-9.-]+)$", var.domain.machine))
    error_message = "domain.machine: expected \"pc\" or \"q35\"."
  }
  validation {
    condition     = contains(["none", "writethrough", "writeback", "directsync", "unsafe"], var.domain.disk_cache)
    error_message = "domain.disk_cache: expected none, writethrough, writeback, directsync or unsafe."
  }
  validation {
    condition     = length(var.domain.cpu_features) == 0 || var.domain.cpu_model != null
    error_message = "domain.cpu_features: needs domain.cpu_model, to which they are added."
  }
  validation {
    condition     = var.domain.console_log_dir == null || can(regex("^/[^'\"<>&]+$", var.domain.console_log_dir))
    error_message = "domain.console_log_dir: expected an absolute path on the hypervisor."
  }
}

variable "nodes" {
  description = "Host name -> the machine. Its domain has the same name."
  type = map(object({
    role       = string
    address    = string
    mac        = string
    cpus       = number
    memory_mib = number
    disk_gib   = number
  }))

  validation {
    condition     = alltrue([for node in var.nodes : node.cpus >= 1 && floor(node.cpus) == node.cpus])
    error_message = "nodes: cpus must be a whole number, at least 1."
  }
  validation {
    condition     = alltrue([for node in var.nodes : node.memory_mib >= 512 && floor(node.memory_mib) == node.memory_mib])
    error_message = "nodes: memory_mib must be a whole number, at least 512."
  }
  validation {
    condition     = alltrue([for node in var.nodes : node.disk_gib >= 4 && floor(node.disk_gib) == node.disk_gib])
    error_message = "nodes: disk_gib must be a whole number, at least 4."
  }
}

variable "k3s" {
  description = "The pinned release, where a node fetches it, and the settings of the cluster."
  type = object({
    version       = string
    distribution  = optional(string, "k3s")
    binary_url    = string
    binary_sha256 = string
    images_url    = string
    images_sha256 = string
    pod_cidr      = optional(string, "10.42.0.0/16")
    service_cidr  = optional(string, "10.43.0.0/16")
    disable       = optional(list(string), [])
  })
}

variable "user" {
  description = "The one user of every node: sudo, ssh by key only."
  type        = string
  default     = "ubuntu"
}

variable "authorized_keys" {
  description = "Public ssh keys that may log in as the user, one a person."
  type        = list(string)
}

variable "token" {
  description = "Pre-shared secret with which agents join: openssl rand -hex 32."
  type        = string
  sensitive   = true
}

variable "host_keys" {
  description = "Host name -> its ed25519 ssh host key, so that the first contact is verified too. A node without an entry makes its own."
  type = map(object({
    private = string
    public  = string
  }))
  default   = {}
  sensitive = true
}

variable "gate_seconds" {
  description = "How long a node waits for its network and resolver before it gives up, without having touched k3s."
  type        = number
  default     = 60
}

variable "start_seconds" {
  description = "How long a node waits for k3s to start and to be Ready."
  type        = number
  default     = 600
}
