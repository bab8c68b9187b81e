# The lab's build: emulated, from the Debian look-alike (fixtures/guest/build makes it). Give with it
# -var source_image=.../guest.qcow2 -var source_checksum=sha256:$(sha256sum < .../guest.qcow2 | cut -c1-64)
accelerator = "tcg"
cpu_model   = "qemu64"
memory      = 1024
image_name  = "k3s-node-debian-13.qcow2"
