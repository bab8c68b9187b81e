# The base image of a k3s node: a cloud image with the promised packages, configured and left as clean as new.

source "qemu" "node" {
  iso_url          = var.source_image
  iso_checksum     = var.source_checksum
  disk_image       = true
  skip_resize_disk = true # cloud-init grows the root of each clone

  accelerator  = var.accelerator
  qemu_binary  = var.qemu_binary
  cpus         = var.cpus
  memory       = var.memory
  machine_type = "pc"
  headless     = true
  disable_vnc  = true # nothing is typed
  qemuargs = [
    ["-cpu", var.cpu_model],
    ["-display", "none"],
    ["-serial", "file:${var.console_log}"],
    ["-device", "virtio-rng-pci"],
    ["-device", "virtio-net,netdev=user.0"],                                    # naming a -device replaces Packer's own
    ["-netdev", "user,id=user.0,hostfwd=tcp:127.0.0.1:{{ .SSHHostPort }}-:22"], # Packer's own listens on every address
  ]

  cd_files = ["${var.seed_directory}/user-data", "${var.seed_directory}/meta-data"]
  cd_label = "cidata"

  # Root of the build machine only: the image has no user until cloud-init makes the clone's.
  ssh_username         = "root"
  ssh_private_key_file = "${var.seed_directory}/ssh_key"
  ssh_timeout          = var.ssh_timeout
  shutdown_command     = "systemctl poweroff"
  shutdown_timeout     = "2m"

  format           = "qcow2"
  disk_cache       = "unsafe" # a build that crashes is thrown away
  disk_discard     = "unmap"  # what the clean-up frees is not in the image
  disk_compression = true
  qemu_img_args {
    convert = ["-o", "compression_type=zstd"]
  }
  vm_name          = var.image_name
  output_directory = var.output_directory
}

build {
  sources = ["source.qemu.node"]

  provisioner "shell" {
    script           = "${path.root}/scripts/setup.sh"
    environment_vars = ["KPI_PACKAGES=${join(" ", var.packages)}"]
    execute_command  = "{{ .Vars }} bash {{ .Path }}"
  }

  provisioner "file" {
    direction   = "download"
    source      = "/usr/share/k3s-node/manifest.txt"
    destination = "${var.output_directory}/manifest.txt"
  }

  # Last, so that nothing can dirty the image after it.
  provisioner "shell" {
    script           = "${path.root}/scripts/verify.sh"
    environment_vars = ["KPI_PACKAGES=${join(" ", var.packages)}"]
    execute_command  = "{{ .Vars }} bash {{ .Path }}"
  }
}
