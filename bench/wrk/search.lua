-- GET of searches with a random patient and code. The word after -- names the search.
--   wrk -t1 -c8 -d10 --latency -s bench/wrk/search.lua http://127.0.0.1:8080 -- patient-code-date
local codes = {"8867-4", "59408-5", "9279-1", "8310-5", "8480-6", "8462-4", "2339-0", "29463-7", "8302-2", "718-7"}
local random = math.random
local loinc = "http://loinc.org%7C"

local shapes = {
  ["patient-code-date"] = function(p, c)
    return string.format("Observation?patient=p%d&code=%s%s&date=ge2026-%02d-01&_sort=-date&_count=20", p, loinc, c, random(1, 10))
  end,
  ["code"] = function(p, c) return string.format("Observation?code=%s%s&_sort=-date&_count=20", loinc, c) end,
  ["identifier"] = function(p, c) return string.format("Patient?identifier=urn:x-yilian:bench%%7CB%05d", p) end,
  ["string"] = function(p, c) return string.format("Patient?family=fam%d&_count=20", p % 97) end,
  ["chain"] = function(p, c)
    return string.format("Observation?patient.identifier=urn:x-yilian:bench%%7CB%05d&code=%s%s&_sort=-date&_count=20", p, loinc, c)
  end,
  ["chain-name"] = function(p, c)
    return string.format("Observation?patient.family=fam%d&code=%s%s&_sort=-date&_count=20", p % 97, loinc, c)
  end,
  ["has"] = function(p, c)
    return string.format("Patient?_has:Observation:patient:code=%s%s&family=fam%d&_count=20", loinc, c, p % 97)
  end,
  ["include"] = function(p, c)
    return string.format("Observation?patient=p%d&_sort=-date&_include=Observation:patient&_count=20", p)
  end,
  ["and3"] = function(p, c)
    return string.format("Observation?code=%s%s&category=vital-signs&status=final&_sort=-date&_count=20", loinc, c)
  end,
  ["sort"] = function(p, c) return string.format("Observation?patient=p%d&_sort=value-quantity&_count=20", p) end,
}
local shape

function init(args)
  math.randomseed(os.time())
  shape = shapes[args[1] or "patient-code-date"]
end

function request()
  return wrk.format("GET", "/fhir/" .. shape(random(0, 999), codes[random(#codes)]))
end
