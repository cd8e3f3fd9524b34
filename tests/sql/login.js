// Logs in to a SQL Server with the access token in SQL_TOKEN, makes one query, and writes what it returned.
//
// usage: login.js PORT

const { Connection, Request } = require("tedious");

const end = (error) => {
  // The message alone: the rest of an error may hold the connection's settings.
  console.error(error.message);
  process.exit(1);
};

const connection = new Connection({
  server: "127.0.0.1",
  authentication: { type: "azure-active-directory-access-token", options: { token: process.env.SQL_TOKEN } },
  options: {
    port: Number(process.argv[2]),
    // The token stays on this machine.
    encrypt: false,
    // The mock reads a login from one packet.
    packetSize: 16384,
    connectTimeout: 10000,
    requestTimeout: 10000,
  },
});

connection.connect((error) => {
  if (error) end(error);
  const request = new Request("SELECT 1", (error) => (error ? end(error) : connection.close()));
  request.on("row", (columns) => console.log(columns[0].value));
  connection.execSqlBatch(request);
});
