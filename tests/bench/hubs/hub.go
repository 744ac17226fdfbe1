// A minimal signaling hub in Go on gorilla/websocket, to compare with. Usage: hub PORT
//
// The same protocol as hub.js. A goroutine reads and one writes for each connection, with pings and
// deadlines as in gorilla's own example of a chat.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	writeWait  = 10 * time.Second
	pongWait   = 60 * time.Second
	pingPeriod = 50 * time.Second
)

type message struct {
	Type    string          `json:"type"`
	Room    string          `json:"room,omitempty"`
	ID      string          `json:"id,omitempty"`
	To      string          `json:"to,omitempty"`
	From    string          `json:"from,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

type client struct {
	socket *websocket.Conn
	outbox chan []byte
}

type hub struct {
	lock  sync.RWMutex
	rooms map[string]map[string]*client
}

func (h *hub) find(room, id string) *client {
	h.lock.RLock()
	defer h.lock.RUnlock()
	return h.rooms[room][id]
}

func (h *hub) join(room, id string, c *client) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.rooms[room] == nil {
		h.rooms[room] = map[string]*client{}
	}
	h.rooms[room][id] = c
}

// A client that does not keep up is cut off.
func (c *client) send(m message) {
	encoded, err := json.Marshal(m)
	if err != nil {
		return
	}
	select {
	case c.outbox <- encoded:
	default:
		c.socket.Close()
	}
}

func (h *hub) read(c *client) {
	defer close(c.outbox)
	defer c.socket.Close()
	c.socket.SetReadLimit(65536)
	c.socket.SetReadDeadline(time.Now().Add(pongWait))
	c.socket.SetPongHandler(func(string) error {
		return c.socket.SetReadDeadline(time.Now().Add(pongWait))
	})
	var room, id string
	for {
		var m message
		if c.socket.ReadJSON(&m) != nil {
			return
		}
		if m.Type == "join" {
			room, id = m.Room, m.ID
			h.join(room, id, c)
			c.send(message{Type: "joined"})
		} else if to := h.find(room, m.To); to != nil {
			to.send(message{Type: m.Type, From: id, Payload: m.Payload})
		}
	}
}

func (c *client) write() {
	ticker := time.NewTicker(pingPeriod)
	defer ticker.Stop()
	defer c.socket.Close()
	for {
		var err error
		select {
		case encoded, ok := <-c.outbox:
			if !ok {
				return
			}
			c.socket.SetWriteDeadline(time.Now().Add(writeWait))
			err = c.socket.WriteMessage(websocket.TextMessage, encoded)
		case <-ticker.C:
			c.socket.SetWriteDeadline(time.Now().Add(writeWait))
			err = c.socket.WriteMessage(websocket.PingMessage, nil)
		}
		if err != nil {
			return
		}
	}
}

func main() {
	h := &hub{rooms: map[string]map[string]*client{}}
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		socket, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &client{socket, make(chan []byte, 64)}
		go c.write()
		go h.read(c)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
