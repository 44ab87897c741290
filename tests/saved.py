"""What --save writes as .safetensors."""
import array, json, struct


def safetensors(file):
    """Each array's shape and numbers, float32, by name."""
    with open(file, "rb") as f:
        header, data = json.loads(f.read(struct.unpack("<Q", f.read(8))[0])), f.read()
    return {name: (tuple(a["shape"]), array.array("f", data[slice(*a["data_offsets"])])) for name, a in header.items()
            if name != "__metadata__"}
