// A consumer of Thing Descriptions that knows nothing of Labretto: node-wot, told only where a Thing is.
//
// node consume.cjs URL; prints one line of JSON with what it saw.
"use strict";

const { Servient } = require("@node-wot/core");
const { HttpClientFactory } = require("@node-wot/binding-http");

/** Values in the order in which they come, each asked for with `await next()`. */
function queue() {
    const values = [];
    const waiting = [];
    return {
        put: (value) => (waiting.length > 0 ? waiting.shift()(value) : values.push(value)),
        next: () => new Promise((resolve) => (values.length > 0 ? resolve(values.shift()) : waiting.push(resolve))),
    };
}

const valueOf = async (output) => (await output).value();

async function messageOf(promise) {
    try {
        await promise;
        return null;
    } catch (error) {
        return error.message;
    }
}

async function main(url) {
    const servient = new Servient();
    servient.addClientFactory(new HttpClientFactory());
    const wot = await servient.start();
    const td = await wot.requestThingDescription(url);
    const thing = await wot.consume(td);
    const saw = { title: td.title, id: td.id };

    saw.read = await valueOf(thing.readProperty("x"));
    await thing.writeProperty("x", 12.5);
    saw.written = await valueOf(thing.readProperty("x"));
    saw.refused = await messageOf(thing.writeProperty("x", 700));
    saw.all = [...(await thing.readMultipleProperties(["x", "firmware"])).keys()];
    saw.array = await valueOf(thing.readProperty("spectrum"));

    const changes = queue();
    const observing = await thing.observeProperty("x", async (output) => changes.put(await output.value()));
    saw.observed = [await changes.next()];
    const invocations = queue();
    const listening = await thing.subscribeEvent("invocation", async (output) => invocations.put(await output.value()));

    saw.moved = await valueOf(thing.invokeAction("move", { to: 3, speed: 2 }));
    saw.states = [(await invocations.next()).state, (await invocations.next()).state];
    await valueOf(thing.readProperty("x"));
    saw.observed.push(await changes.next());

    const id = process.argv[3];
    saw.once = [];
    for (let i = 0; i < 2; i++) {
        saw.once.push(await valueOf(thing.invokeAction("move", { to: 4 }, { uriVariables: { id } })));
    }
    saw.moves = await valueOf(thing.readProperty("moves"));
    saw.scanned = await valueOf(thing.invokeAction("scan", { rows: 2 }));
    saw.nothing = (await valueOf(thing.invokeAction("look_away"))) ?? null;
    saw.failed = await messageOf(thing.invokeAction("fail"));
    saw.stopped = (await valueOf(thing.invokeAction("stop"))).stopped;

    await observing.stop();
    await listening.stop();
    await servient.shutdown();
    process.stdout.write(`${JSON.stringify(saw)}\n`);
}

main(process.argv[2]).catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
});
