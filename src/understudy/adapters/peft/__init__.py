"""LoRA and IA³: put into encoders by the library PEFT, exchanged with it, and beside other adapters on one base."""
