# A Shiny app as a person would write it: it shows who its visitor is, by a token spent on Microsoft Graph. It asks again
# and again, in all the ways in which a token of another visitor could get in.

library(shiny)

name_of <- function(token) {
  address <- paste0(Sys.getenv("ENTRAR_DEMO_GRAPH"), "/v1.0/me")
  connection <- url(address, headers = c(Authorization = paste("Bearer", token)))
  on.exit(close(connection))
  reply <- paste(readLines(connection, warn = FALSE), collapse = "")
  jsonlite::fromJSON(reply)$displayName
}

# The name, or which error there was in its place. On a slow machine a token may expire on its way.
visitor <- function(...) {
  token <- tryCatch(entrar::azure_token("graph", ...), entrar_error = identity)
  if (inherits(token, "entrar_error")) {
    return(paste("error:", token$kind))
  }
  tryCatch(suppressWarnings(name_of(token)), error = function(e) "too late")
}

ui <- fluidPage(
  textOutput("at_once"),
  textOutput("again"),
  textOutput("promised"),
  textOutput("named"),
  textOutput("outside"),
  textOutput("rounds"),
  textOutput("session")
)

server <- function(input, output, session) {
  session$allowReconnect("force")
  rounds <- reactiveVal(0)

  output$at_once <- renderText(visitor())
  output$again <- renderText({
    invalidateLater(150)
    isolate(rounds(rounds() + 1))
    visitor()
  })
  output$promised <- renderText({
    invalidateLater(170)
    waited <- promises::promise(function(resolve, reject) later::later(\() resolve(NULL), 0.05))
    promises::then(waited, onFulfilled = function(value) visitor())
  })
  # Code that has lost its session is told which one it is for.
  named <- reactiveVal("")
  outside <- reactiveVal("")
  ended <- FALSE
  look <- function() {
    if (!ended) {
      named(visitor(session = session))
      outside(visitor())
      later::later(look, 0.15)
    }
  }
  session$onSessionEnded(function() ended <<- TRUE)
  later::later(look)
  output$named <- renderText(named())
  output$outside <- renderText(outside())
  output$rounds <- renderText(rounds())
  output$session <- renderText(session$token)
}

shinyApp(
  ui,
  server,
  options = list(port = as.integer(Sys.getenv("ENTRAR_DEMO_PORT")), launch.browser = FALSE)
)
