# What a node needs to know at first boot. Types and rules live here once; terraform-libvirt hands its own variables on.

variable "network" {
  description = "The libvirt network, and what must work on it before a node touches k3s."
  type = object({
    cidr           = string
    gateway        = string
    dns            = list(string)
    interface      = optional(string, "eth0") # the name that a node's only interface gets
    required_names = list(string)             # must be answered by the resolver before the install begins
  })

  validation {
    condition     = can(regex("^[0-9.]+/\\d+$", var.network.cidr)) && try(cidrhost(var.network.cidr, 0) == split("/", var.network.cidr)[0], false)
    error_message = "network.cidr: expected an IPv4 network without host bits, such as 192.168.122.0/24."
  }
  validation {
    condition     = can(regex("^[0-9.]+$", var.network.gateway)) && try(cidrhost("${var.network.gateway}/${split("/", var.network.cidr)[1]}", 0) == cidrhost(var.network.cidr, 0), false)
    error_message = "network.gateway: expected an IPv4 address inside network.cidr, such as 192.168.122.1."
  }
  validation {
    condition     = length(var.network.dns) > 0 && alltrue([for server in var.network.dns : can(regex("^[0-9.]+$", server)) && can(cidrhost("${server}/32", 0))])
    error_message = "network.dns: expected at least one resolver, each an IPv4 address."
  }
  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,14}$", var.network.interface))
    error_message = "network.interface: expected an interface name of at most 15 lower-case letters and digits, such as eth0."
  }
  validation {
    condition     = length(var.network.required_names) > 0 && alltrue([for name in var.network.required_names : can(regex("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", name))])
    error_message = "network.required_names: expected at least one DNS name; without one the gate would prove nothing."
  }
}

variable "nodes" {
  description = "Host name -> role, static address and MAC address."
  type = map(object({
    role    = string
    address = string
    mac     = string
  }))

  validation {
    condition     = length([for node in var.nodes : node if node.role == "server"]) == 1
    error_message = "nodes: expected exactly one node with role \"server\"."
  }
  validation {
    condition     = alltrue([for node in var.nodes : contains(["server", "agent"], node.role)])
    error_message = "nodes: role must be \"server\" or \"agent\"."
  }
  validation {
    condition     = alltrue([for name, _ in var.nodes : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", name))])
    error_message = "nodes: a node name is a host name: lower-case letters, digits and dashes, at most 63 characters."
  }
  validation {
    condition     = alltrue([for node in var.nodes : can(cidrhost("${node.address}/${split("/", var.network.cidr)[1]}", 0)) && try(cidrhost("${node.address}/${split("/", var.network.cidr)[1]}", 0) == cidrhost(var.network.cidr, 0), false)])
    error_message = "nodes: every address must be an IPv4 address inside network.cidr."
  }
  validation {
    condition     = length(distinct(concat([for node in var.nodes : node.address], [var.network.gateway]))) == length(var.nodes) + 1
    error_message = "nodes: addresses must differ from each other and from network.gateway."
  }
  validation {
    condition     = alltrue([for address in concat([for node in var.nodes : node.address], [var.network.gateway]) : try(!contains([cidrhost(var.network.cidr, 0), cidrhost(var.network.cidr, -1)], address), true)])
    error_message = "nodes: neither a node nor network.gateway can have the first or the last address of network.cidr."
  }
  validation {
    condition     = alltrue([for node in var.nodes : can(regex("^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$", node.mac))]) && length(distinct([for node in var.nodes : node.mac])) == length(var.nodes)
    error_message = "nodes: mac must be a unicast address in lower case with colons, such as 52:54:00:12:34:56, and no two the same."
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

  validation {
    condition     = can(regex("^v\\d+\\.\\d+\\.\\d+\\+[a-z0-9]+$", var.k3s.version))
    error_message = "k3s.version: expected a full version such as v1.34.3+k3s1; a channel such as \"stable\" is no pin."
  }
  validation {
    condition     = contains(["k3s", "k3s-lab"], var.k3s.distribution)
    error_message = "k3s.distribution: expected \"k3s\" or \"k3s-lab\"."
  }
  validation {
    condition     = alltrue([for url in [var.k3s.binary_url, var.k3s.images_url] : can(regex("^https?://[A-Za-z0-9.:/_~%+-]+$", url))])
    error_message = "k3s: binary_url and images_url must be http or https URLs."
  }
  validation {
    condition     = can(regex("\\.(tar|tar\\.gz|tar\\.zst)$", var.k3s.images_url))
    error_message = "k3s.images_url: expected a .tar, .tar.gz or .tar.zst archive; k3s goes by the name."
  }
  validation {
    condition     = alltrue([for sum in [var.k3s.binary_sha256, var.k3s.images_sha256] : can(regex("^[0-9a-f]{64}$", sum))])
    error_message = "k3s: binary_sha256 and images_sha256 must be 64 hex digits."
  }
  validation {
    condition     = alltrue([for cidr in [var.k3s.pod_cidr, var.k3s.service_cidr] : can(regex("^[0-9.]+/\\d+$", cidr)) && try(cidrhost(cidr, 0) == split("/", cidr)[0], false)])
    error_message = "k3s: pod_cidr and service_cidr must be IPv4 networks without host bits, such as 10.42.0.0/16."
  }
}

variable "user" {
  description = "The one user of every node: sudo, ssh by key only."
  type        = string
  default     = "ubuntu"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,31}$", var.user)) && var.user != "root"
    error_message = "user: expected an ordinary user name in lower case; root never logs in."
  }
}

variable "authorized_keys" {
  description = "Public ssh keys that may log in as the user, one a person."
  type        = list(string)

  validation {
    condition     = length(var.authorized_keys) > 0 && alltrue([for key in var.authorized_keys : can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( [^\\n]*)?$", key))])
    error_message = "authorized_keys: expected at least one public key in one line, such as \"ssh-ed25519 AAAA... me\"; a private key never goes here."
  }
}

variable "token" {
  description = "Pre-shared secret with which agents join."
  type        = string
  sensitive   = true

  validation {
    condition     = can(regex("^[A-Za-z0-9]{16,}$", var.token))
    error_message = "token: expected at least 16 letters and digits (openssl rand -hex 32)."
  }
}

variable "host_keys" {
  description = "Host name -> its ed25519 ssh host key, so that the first contact is verified too. A node without an entry makes its own."
  type = map(object({
    private = string
    public  = string
  }))
  default   = {}
  sensitive = true

  validation {
    condition     = alltrue([for key in values(var.host_keys) : startswith(key.private, "-----BEGIN OPENSSH PRIVATE KEY-----") && startswith(key.public, "ssh-ed25519 ")])
    error_message = "host_keys: expected ed25519 keys as ssh-keygen writes them."
  }
}

variable "gate_seconds" {
  description = "How long a node waits for its network and resolver before it gives up, without having touched k3s."
  type        = number
  default     = 60

  validation {
    condition     = var.gate_seconds >= 1 && var.gate_seconds <= 3600
    error_message = "gate_seconds: expected 1 to 3600."
  }
}

variable "start_seconds" {
  description = "How long a node waits for k3s to start and to be Ready."
  type        = number
  default     = 600

  validation {
    condition     = var.start_seconds >= 1 && var.start_seconds <= 7200
    error_message = "start_seconds: expected 1 to 7200."
  }
}
