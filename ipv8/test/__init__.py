"""What tests of overlays are made of; shipped for the tests of applications."""
