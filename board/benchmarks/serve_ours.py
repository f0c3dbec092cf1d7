"""Three routes in MicroFastApi, and one that tells of the memory; the twin of serve_microdot.py.

micropython serve_ours.py PORT
"""

import asyncio
import gc
import sys

import micropython

from microfastapi import MicroFastApi

app = MicroFastApi(port=int(sys.argv[1]), docs=False)


@app.get("/")
def index():
    return {"hello": "world"}


@app.get("/items/{item_id:int}", item_id=int, q=str)
def read_item(item_id, q):
    return {"item_id": item_id, "q": q}


@app.post("/values", body=dict)
def values(body):
    return {"keys": len(body)}


async def tell():
    await asyncio.sleep(0.1)
    gc.collect()
    print("ready", gc.mem_alloc())


@app.get("/memory")
def memory():
    total = micropython.mem_total()
    gc.collect()
    return [total, gc.mem_alloc()]


app.background.append(tell)
app.run()
