# Patterns are checked with regex_replace(...) == "": Packer 1.6 has no other function for them.

# Source: what the image is made from.

variable "source_image" {
  type        = string
  description = "Path or URL of the cloud image to start from (qcow2)."
  default     = "https://cloud-images.ubuntu.com/releases/noble/release-20260321/ubuntu-24.04-server-cloudimg-amd64.img"
}

variable "source_checksum" {
  type        = string
  description = "Checksum of the source image as sha256:<64 hex digits>; the default belongs to the default image."
  default     = "sha256:5c3ddb00f60bc455dac0862fabe9d8bacec46c33ac1751143c5c3683404b110d"
  validation {
    condition     = var.source_checksum != "" && regex_replace(var.source_checksum, "^sha256:[0-9a-f]{64}$", "") == ""
    error_message = "The source_checksum must be sha256: and 64 lower-case hex digits; an unpinned image is refused."
  }
}

variable "packages" {
  type        = list(string)
  description = "Packages which the image promises. Missing ones are installed; with none missing the build needs no network."
  default = [
    "cloud-init", "cloud-guest-utils", "qemu-guest-agent", "openssh-server", "sudo",
    "curl", "wget", "ca-certificates", "jq", "e2fsprogs", "kmod",
    "iproute2", "iputils-ping", "bind9-dnsutils", "iptables", "nftables", "conntrack", "tcpdump", "ethtool", "socat", "netcat-openbsd",
  ]
  validation {
    condition     = regex_replace(join(" ", var.packages), "^[a-z0-9][a-z0-9+.-]+( [a-z0-9][a-z0-9+.-]+)*$", "ok") == "ok"
    error_message = "The packages must be a list of Debian package names with at least one entry."
  }
}

# Access to the machine while it is built.

variable "seed_directory" {
  type        = string
  description = "Directory with user-data and meta-data of the build machine, and ssh_key: what scripts/seed.sh makes."
  default     = "seed"
}

# Where it is built.

variable "accelerator" {
  type        = string
  description = "QEMU accelerator: kvm, or tcg (emulation, slow) where there is none."
  default     = "kvm"
  validation {
    condition     = contains(["kvm", "tcg"], var.accelerator)
    error_message = "The accelerator must be kvm or tcg."
  }
}

variable "cpu_model" {
  type        = string
  description = "CPU model of the build machine; under tcg qemu64 is the quickest."
  default     = "host"
  validation {
    condition     = var.cpu_model != "" && regex_replace(var.cpu_model, "^[A-Za-z0-9_.,=+-]+$", "") == ""
    error_message = "The cpu_model must be a QEMU CPU model such as host, max or qemu64."
  }
}

variable "qemu_binary" {
  type        = string
  description = "Name or path of the QEMU program."
  default     = "qemu-system-x86_64"
}

variable "cpus" {
  type        = number
  description = "Virtual CPUs of the build machine."
  default     = 2
  validation {
    condition     = var.cpus >= 1 && var.cpus <= 64
    error_message = "The cpus must be between 1 and 64."
  }
}

variable "memory" {
  type        = number
  description = "Memory of the build machine in MiB."
  default     = 2048
  validation {
    condition     = var.memory >= 512
    error_message = "The memory must be at least 512 (MiB)."
  }
}

variable "ssh_timeout" {
  type        = string
  description = "How long the build machine may take until it answers by ssh."
  default     = "5m"
  validation {
    condition     = var.ssh_timeout != "" && regex_replace(var.ssh_timeout, "^[0-9]+[sm]$", "") == ""
    error_message = "The ssh_timeout must be a duration such as 90s or 5m."
  }
}

# Result.

variable "image_name" {
  type        = string
  description = "File name of the image in output_directory."
  default     = "k3s-node-ubuntu-24.04.qcow2"
  validation {
    condition     = var.image_name != "" && regex_replace(var.image_name, "^[A-Za-z0-9][A-Za-z0-9._-]*\\.qcow2$", "") == ""
    error_message = "The image_name must be a plain file name that ends in .qcow2."
  }
}

variable "output_directory" {
  type        = string
  description = "Directory for the image and manifest.txt. It must not exist; a failed build removes it."
  default     = "output"
}

variable "console_log" {
  type        = string
  description = "File for the serial console of the build machine; kept when the build fails."
  default     = "console.log"
}
