-- wrk -s wrk.lua URL -- BODY_FILE [HEADER VALUE]...: posts that body, and prints what came of it as one line of JSON.

init = function(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  file:close()
  wrk.headers["Content-Type"] = "application/json"
  for place = 2, #args, 2 do
    wrk.headers[args[place]] = args[place + 1]
  end
end

done = function(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "errors": %d, "p50": %d, "p99": %d}\n',
    summary.requests, summary.duration,
    failed.connect + failed.read + failed.write + failed.status + failed.timeout,
    latency:percentile(50), latency:percentile(99)
  ))
end
