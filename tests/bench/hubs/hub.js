// A minimal signaling hub on Node's `ws`, to compare with. Usage: node hub.js PORT
//
// {"type":"join","room","id"} gets {"type":"joined"}; {"type","to","payload"} reaches that
// one in the room as {"type","from","payload"}. Nothing is checked, numbered, kept or answered.
import { WebSocketServer } from "ws";

const rooms = new Map();
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  maxPayload: 65536,
  perMessageDeflate: false,
});

// Pings as in the package's own example.
setInterval(() => {
  for (const socket of server.clients) {
    if (!socket.alive) socket.terminate();
    socket.alive = false;
    socket.ping();
  }
}, 50_000);

server.on("connection", (socket) => {
  socket.alive = true;
  socket.on("pong", () => {
    socket.alive = true;
  });
  let id;
  let room;
  socket.on("error", () => {});
  socket.on("message", (data) => {
    const message = JSON.parse(data);
    if (message.type === "join") {
      id = message.id;
      room = rooms.get(message.room) ?? new Map();
      rooms.set(message.room, room.set(id, socket));
      socket.send('{"type":"joined"}');
      return;
    }
    const { type, payload } = message;
    room?.get(message.to)?.send(JSON.stringify({ type, from: id, payload }));
  });
  socket.on("close", () => room?.delete(id));
});
