"""The same routes in Microdot; the twin of serve_ours.py.

micropython serve_microdot.py PORT
"""

import asyncio
import gc
import sys

import micropython
from microdot import Microdot

app = Microdot()


@app.get("/")
def index(request):
    return {"hello": "world"}


@app.get("/items/<int:item_id>")
def read_item(request, item_id):
    return {"item_id": item_id, "q": request.args.get("q")}


@app.post("/values")
def values(request):
    return {"keys": len(request.json)}


@app.get("/memory")
def memory(request):
    total = micropython.mem_total()
    gc.collect()
    return [total, gc.mem_alloc()]


async def main():
    server = asyncio.create_task(app.start_server(port=int(sys.argv[1])))
    await asyncio.sleep(0.1)
    gc.collect()
    print("ready", gc.mem_alloc())
    await server


asyncio.run(main())
