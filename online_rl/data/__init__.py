"""Studies: reading them, cleaning their texts, decoding their images, sampling them."""
