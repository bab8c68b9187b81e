terraform {
  required_version = ">= 1.9"

  required_providers {
    # Exact: the 0.9 line has an entirely different schema.
    libvirt = {
      source  = "dmacvicar/libvirt"
      version = "0.8.3"
    }
  }
}

provider "libvirt" {
  uri = var.libvirt_uri
}
