"""The linear probe of an encoder: its vectors, the choice of pooling and penalty, and a head that begins as the probe."""
