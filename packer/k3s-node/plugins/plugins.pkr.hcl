# For `packer init plugins` with Packer 1.7 and later. In a directory of its own because Packer 1.6, which has the qemu
# builder built in, refuses the block; later ones find an installed plugin without it.
packer {
  required_plugins {
    qemu = {
      source  = "github.com/hashicorp/qemu"
      version = "~> 1.1"
    }
  }
}
